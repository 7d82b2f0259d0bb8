from . import acme_dock
from . import stock_move
from . import stock_picking
