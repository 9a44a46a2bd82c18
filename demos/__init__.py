"""What a person sees: one module per page, on top of `demos.kit.shell`. Holds no model code and never imports torch."""
