"""Human judgement: votes on images, their levels, and captioners compared by people."""
