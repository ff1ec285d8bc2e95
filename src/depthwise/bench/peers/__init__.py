"""One small adapter an engine, all behind the interface of `measure.engine`."""
