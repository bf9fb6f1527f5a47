"""Signatures of graphs: named inputs and outputs with dtypes and axes, vocabulary sizes, and inputs to run them on."""
