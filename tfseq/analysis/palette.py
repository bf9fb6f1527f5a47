"""The colour palette of all plots, safe for colour blindness (Okabe and Ito, 2008)."""

BLUE, ORANGE, RED, GREEN, SKY, PINK, BLACK = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#000000"
COLORS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
