"""Simulated sequences that come with the package, from a fixed seed, since scikit-learn has none."""

import numpy as np

SEED = 20
NUM_SEQUENCES, SHORTEST, LONGEST = 300, 24, 48
STATES = ("rest", "stand", "walk", "stairs", "run")
CHANNELS = ("motion", "posture", "sound", "pulse")
NOTE = (
    "Simulated, and no model here is its truth: somebody wears four sensors through five activities. An activity lasts "
    "three steps and a negative binomial number more, where a chain of states can only say that it ends with the same "
    "probability at every step. The sensors' noise has heavy tails (Student's t of 4 degrees of freedom) and carries "
    "over from step to step, each wearer shifts them a little, and the pulse only follows the activity: given its "
    "state, a step still depends on those before it, which hidden Markov models deny and CRFs do not look at."
)
# Mean steps, and where the sensors settle in the end, by state.
MEAN_DURATION = np.array([12.0, 7.0, 10.0, 6.0, 8.0])
LEVELS = np.array(
    [
        [-1.2, -1.2, -0.7, -1.4],
        [-1.0, 0.6, -0.4, -0.7],
        [0.3, 0.7, 0.2, 0.1],
        [0.5, 0.1, 0.4, 1.0],
        [1.4, 0.6, 0.9, 1.6],
    ]
)
NEXT = np.array(
    [
        [0.0, 0.9, 0.1, 0.0, 0.0],
        [0.4, 0.0, 0.5, 0.1, 0.0],
        [0.1, 0.3, 0.0, 0.3, 0.3],
        [0.0, 0.2, 0.7, 0.0, 0.1],
        [0.1, 0.2, 0.6, 0.1, 0.0],
    ]
)
NOISE = np.array([0.6, 0.8, 0.75, 0.35])
CARRIED, FOLLOWED = 0.4, 0.22  # shares of noise, and of the distance to its level, from step to step
WEARER = 0.2  # standard deviation of levels between sequences


def activity() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Simulated sequences x (t_i, 4) and their states (t_i,)."""
    random = np.random.default_rng(SEED)
    states = [_states(int(random.integers(SHORTEST, LONGEST + 1)), random) for _ in range(NUM_SEQUENCES)]
    return [_sensors(y, random) for y in states], states


def _states(length: int, random: np.random.Generator) -> np.ndarray:
    """Path of states of a Markov chain that was under way before its first step."""
    path, state = [], int(random.integers(len(STATES)))
    before = int(random.integers(20))
    while len(path) < before + length:
        more = random.negative_binomial(4, 4 / (4 + MEAN_DURATION[state] - 3))
        path += [state] * (3 + int(more))
        state = int(random.choice(len(STATES), p=NEXT[state]))
    return np.array(path[before : before + length])


def _sensors(y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Sensor readings given states: heavy-tailed noise that carries over; the last channel moves towards its level."""
    fresh = random.standard_t(4, (len(y), len(CHANNELS))) / np.sqrt(2)
    noise, level = np.zeros_like(fresh), LEVELS[y]
    pulse = level[0, -1]
    for t in range(len(y)):
        noise[t] = fresh[t] if t == 0 else CARRIED * noise[t - 1] + np.sqrt(1 - CARRIED**2) * fresh[t]
        pulse += FOLLOWED * (level[t, -1] - pulse)
        level[t, -1] = pulse
    return (level + WEARER * random.normal(size=len(CHANNELS)) + NOISE * noise).round(3)
