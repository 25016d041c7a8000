"""Which model for my data? `dgjax compare` fits pairs of generative and discriminative models and measures them."""
