"""Reading answers out of passages: Fusion-in-Decoder, and a light span reader."""
