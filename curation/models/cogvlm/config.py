"""The configuration of CogVLM, read from the official `config.json`; defaults are those of CogVLM-1.1-chat."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CogVLMVisionConfig(PreTrainedConfig):
    """The image tower, EVA2-CLIP-E (arXiv:2303.15389)."""

    model_type = "cogvlm_vision"
    base_config_key = "vision_config"

    hidden_size: int = 1792
    intermediate_size: int = 15360
    num_hidden_layers: int = 63
    num_heads: int = 16
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6
    image_size: int = 490
    patch_size: int = 14
    num_positions: int = 1226
    in_channels: int = 3
    dropout_prob: float = 0.0

    @property
    def patches(self) -> int:
        """Number of patches of an image; each is one token."""
        return (self.image_size // self.patch_size) ** 2

    def validate_architecture(self) -> None:
        """Raises ValueError if sizes contradict each other."""
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_heads {self.num_heads}")
        if self.num_positions != self.patches + 1:
            raise ValueError(
                f"num_positions {self.num_positions} is not one more than the {self.patches} patches of an image"
            )


@strict
class CogVLMConfig(PreTrainedConfig):
    """CogVLM (arXiv:2311.03079): a LLaMA each of whose layers has a second set of weights for image tokens."""

    model_type = "cogvlm"
    keys_to_ignore_at_inference = ["past_key_values"]
    sub_configs_defaults = {"vision_config": CogVLMVisionConfig}

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    template_version: str = "chat"
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    rope_parameters: dict | None = None
    mlp_bias: bool = False
    vision_config: dict | CogVLMVisionConfig | None = None

    @property
    def image_tokens(self) -> int:
        """Number of tokens of an image: one for its beginning, one for each patch, one for its end."""
        return self.vision_config.patches + 2  # type: ignore[union-attr]

    def validate_architecture(self) -> None:
        """Raises ValueError if sizes contradict each other."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {self.num_attention_heads}"
            )
