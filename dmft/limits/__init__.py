"""What is known without a solve: steady states, rates, transitions, saddles."""
