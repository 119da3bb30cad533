from tests.training.conftest import make_loop  # noqa: F401 - a fixture
