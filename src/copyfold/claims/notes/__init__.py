"""Claims of the notes on section 20.3 of Murphy's book: bottlenecks, penalties, denoising, VAEs."""

BOTTLENECK = 'notes on Murphy, "20.3.1 Bottleneck autoencoders"'
DENOISING = 'notes on Murphy, "20.3.2 Denoising autoencoders"'
COMPARISON = 'notes on Murphy, "20.3.5.3 Comparison of VAEs and autoencoders"'
