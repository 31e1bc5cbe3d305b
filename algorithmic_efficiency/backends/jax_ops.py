"""The tensor functions of losses in JAX."""

import jax
import jax.numpy as jnp
import optax


class JaxOps:
    """The tensor functions of `losses.Ops`."""

    def exp(self, x: jax.Array) -> jax.Array:
        """Returns e ** x."""
        return jnp.exp(x)

    def log_softmax(self, x: jax.Array) -> jax.Array:
        """Returns log(softmax(x)) over the last axis."""
        return jax.nn.log_softmax(x)

    def log_sigmoid(self, x: jax.Array) -> jax.Array:
        """Returns log(1 / (1 + exp(-x)))."""
        return jax.nn.log_sigmoid(x)

    def pick(self, x: jax.Array, index: jax.Array) -> jax.Array:
        """Returns x[..., index]."""
        return jnp.take_along_axis(x, index[..., None], -1)[..., 0]

    def float_like(self, x: jax.Array, like: jax.Array) -> jax.Array:
        """Returns x in the dtype of `like`."""
        return x.astype(like.dtype)

    def select(self, mask: jax.Array, x: jax.Array) -> jax.Array:
        """Returns x where mask is not 0, and 0 elsewhere."""
        return jnp.where(mask != 0, x, 0)

    def ones_like(self, x: jax.Array) -> jax.Array:
        """Returns ones in the shape and dtype of x."""
        return jnp.ones_like(x)

    def wide(self, x: jax.Array) -> jax.Array:
        """Returns x in float32, or in its own dtype where that is wider."""
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))

    def argmax(self, x: jax.Array) -> jax.Array:
        """Returns the place of the largest entry along the last axis."""
        return jnp.argmax(x, -1)

    def ctc(
        self,
        logits: jax.Array,
        paddings: jax.Array,
        labels: jax.Array,
        label_paddings: jax.Array,
    ) -> jax.Array:
        """Returns the CTC loss of each example, [B]."""
        labels = labels.astype(jnp.int32)
        loss: jax.Array = optax.ctc_loss(logits, paddings, labels, label_paddings)
        return loss
