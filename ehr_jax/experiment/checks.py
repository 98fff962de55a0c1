"""What only several sections of a config tell of a method, checked before anything is imported."""

import ml_collections

from ehr_jax import settings
from ehr_jax.models import registry
from ehr_jax.models import settings as models
from ehr_jax.training import settings as training


def check_method(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where the network of config.model.name cannot be made or trained so."""
    if not registry.find(config.model.name).is_network:
        return
    models.check_method(
        settings.read(models.Model, config.model, "config.model"),
        settings.read(models.Realm, config.realm, "config.realm"),
    )
    settings.read(training.Train, config.train, "config.train")
    training.check_teacher(config)
    training.check_shards(config.model.name, config.train.shards)
