"""Classifiers that the fastText family is compared with: trees, TF-IDF, and the rows of Arevalo 2017 (K-22)."""
