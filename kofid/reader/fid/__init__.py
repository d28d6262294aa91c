"""Fusion-in-Decoder readers: FiDT5, FiDSKT, FiD-Light, FiDO."""
