"""Getting finished exchanges to those who write them down, off the request path."""
