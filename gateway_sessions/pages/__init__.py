"""What pages for people are made of: numbers as text, plots, templates, one look."""
