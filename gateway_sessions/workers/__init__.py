"""A gateway in several processes: workers that carry traffic, and the main one that keeps them."""
