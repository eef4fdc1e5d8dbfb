"""FID as a metric of torchmetrics, for a training loop of your own.

Its sums are those of torchmetrics, and its distance is ours: torchmetrics takes eigenvalues of a
matrix that is not symmetric. Searches measure with models.metrics.fid, which also gives a standard
error; both give the same value.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from models.metrics.frechet import Statistics, Sums, frechet_distance


class FrechetDistance(FrechetInceptionDistance):
    """The FID of torchmetrics, with given statistics of the real images and our distance.

    In a loop of your own:

        distance = FrechetDistance(features, read_reference(path).statistics)
        distance.update(images, real=False)
        distance.compute()

    Args:
        features: a module from a batch of images to features [B, F], with `num_features` = F.
        real: the statistics of the real images.

    Raises:
        ValueError: statistics and features have different widths.
    """

    def __init__(self, features: nn.Module, real: Statistics) -> None:
        super().__init__(feature=features, reset_real_features=False)
        width = len(self.real_features_sum)
        if real.mean.shape != (width,) or real.covariance.shape != (width, width):
            raise ValueError(
                f"expected statistics of {width} features, got a mean of shape "
                f"{tuple(real.mean.shape)}"
            )
        self._real = real

    def compute(self) -> Tensor:
        """Return the distance, a float64 scalar; not finite if the features are not.

        Raises:
            ValueError: fewer than two images were generated.
        """
        sums = self.fake_features_sum, self.fake_features_cov_sum
        fake = Sums(*sums, int(self.fake_features_num_samples)).statistics()
        return frechet_distance(self._real, fake)
