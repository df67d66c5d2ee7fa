"""Offline, incremental, explainable classification of multi-modal documents."""
