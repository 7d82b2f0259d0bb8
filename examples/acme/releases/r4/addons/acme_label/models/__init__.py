from . import sale_order
from . import spooler
from . import stock_picking
