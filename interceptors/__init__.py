"""What comes in the box: everything that turns tagged traffic into an output.

Each module uses only the public interface at the root of ``gateway_sessions``, the one that
anybody's interceptors use, and none knows of another.
"""
