"""What only several sections of a config tell of a method, checked before anything is imported."""

import ml_collections

from ehr_jax import errors, settings
from ehr_jax.features import settings as features
from ehr_jax.models import registry
from ehr_jax.models import settings as models
from ehr_jax.training import settings as training


def check_method(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where the method config.model.name cannot be made or trained so."""
    check_features(config)
    if not registry.find(config.model.name).is_network:
        return
    models.check_method(
        settings.read(models.Model, config.model, "config.model"),
        settings.read(models.Realm, config.realm, "config.realm"),
    )
    settings.read(training.Train, config.train, "config.train")
    training.check_teacher(config)
    training.check_shards(config.model.name, config.train.shards)


def check_features(config: ml_collections.ConfigDict) -> None:
    """Raises ConfigError where config.features asks for what the method's input is not made by."""
    name = config.model.name
    inputs, defaults = registry.find(name).inputs, settings.section(features.Features)
    if inputs.features is None:
        return
    for key, default in defaults.items():
        if key not in inputs.features and config.features[key] != default:
            raise errors.ConfigError(
                f"config.features.{key} is {config.features[key]!r}, which '{name}' does not read: "
                f"{inputs.name} are made by config.features.{' and '.join(inputs.features)} alone; "
                f"set it to {default!r}"
            )
