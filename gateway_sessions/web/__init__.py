"""The edge: HTTP in, HTTP out.

`middleware` is the one path that every request takes; `proxy` is the handler that it wraps
when the gateway stands in front of an upstream, and a host application's own handlers take
that place when it is embedded.  `streams` relays responses, `upstreams` knows where requests
go, `admin` serves the gateway's own endpoints and `server` makes the HTTP server.
"""
