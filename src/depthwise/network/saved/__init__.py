"""Files of networks: what `Network.save` writes and `load` reads."""
