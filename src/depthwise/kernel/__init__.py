"""What a call runs: steps, packed weights, machine code in this process."""
