"""Pictures as arrays, there and back."""

import numpy as np

from shared.pixels import PIXEL_RANGE, from_network, to_network


def test_every_value_survives_the_round_trip() -> None:
    images = np.arange(2 * 16 * 8 * 3, dtype=np.uint16).astype(np.uint8).reshape(2, 16, 8, 3)
    batch = to_network(images)
    assert batch.shape == (2, 3, 16, 8)
    assert batch.dtype == np.float32
    assert (batch.min(), batch.max()) == PIXEL_RANGE
    np.testing.assert_array_equal(from_network(batch), images)


def test_channels_rows_and_columns_keep_their_places() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    image[1, 2] = (255, 0, 51)
    batch = to_network(image)  # one picture is a batch of one
    assert batch.shape == (1, 3, 4, 5)
    np.testing.assert_allclose(batch[0, :, 1, 2], [1, 0, 0.2])
    assert np.count_nonzero(batch) == 2
    assert batch.flags.c_contiguous
    assert from_network(batch).flags.c_contiguous


def test_values_outside_are_clipped_and_others_rounded() -> None:
    values = np.array([-1, -0.001, 0.4 / 255, 0.6 / 255, 1.001, 7], np.float32).reshape(1, 1, 1, 6)
    pictures = from_network(np.repeat(values, 3, axis=1))
    assert pictures[0, 0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]
