"""Where sessions are kept between requests: one interface, several back ends."""
