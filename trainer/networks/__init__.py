"""The paper's networks, one a file: Phi and Psi (converter), Theta (tl2f), D (discriminator)."""
