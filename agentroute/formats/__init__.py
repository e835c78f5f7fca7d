"""Translation between the canonical values and each wire dialect: pure functions, in both directions."""
