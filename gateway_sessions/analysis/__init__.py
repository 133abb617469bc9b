"""What happened in a session, worked out from its exchanges; pure."""
