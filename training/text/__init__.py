"""Captions as text: tokens, words, vocabulary, word vectors."""
