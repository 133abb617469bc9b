"""Measurements of this project on the machine at hand; ``scripts/bench`` runs them."""
