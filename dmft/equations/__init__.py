"""The mean-field equations of one coordinate and one sample, without any control flow."""
