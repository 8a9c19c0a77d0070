"""What is learnt: configurations, backbones, heads, training runs. Shared by the stages that learn."""
