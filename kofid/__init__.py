"""kofid: Korean open-domain question answering with Fusion-in-Decoder, from the command line."""

__version__ = "0.1.0"
