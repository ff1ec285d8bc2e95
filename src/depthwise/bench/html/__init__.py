"""`depthwise bench --html`: all results on one page, which needs nothing beside itself."""
