"""Bytes of image files -> pixels, in processes of their own. Imports neither Beam nor TensorFlow."""
