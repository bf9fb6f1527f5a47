"""What goes into a graph and comes out: names, types and axes of inputs and outputs, and inputs to try a model on."""
