"""Human judgement: votes on images and the levels they give, and captioners compared by human evaluators."""
