"""Peace between two releases that serve one database for a while."""
import logging

from . import pool, prune

_logger = logging.getLogger(__name__)


def install():
    _patch_views()
    _patch_assets()
    _patch_files()


# -- views: the other release's fields are not named to the browser


def _prunes(env):
    tenant = pool.tenant(env.cr.dbname)
    return bool(tenant and tenant.prune_views)


class Models:
    """What the registry knows, as prune.py asks for it."""

    def __init__(self, env, strict=False):
        self._env = env
        self._strict = strict
        self._foreign = _foreign_fields(env)

    def known(self, model):
        return model in self._env.registry

    def has_field(self, model, name):
        if name in self._env.registry[model]._fields:
            return True
        # strict: only what the database knows and the registry does not is the other release's;
        # anything else is a mistake of the view's author, and stays for Odoo to complain about.
        return self._strict and not self.foreign(model, name)

    def comodel(self, model, name):
        field = self._env.registry[model]._fields.get(name)
        return field.comodel_name if field is not None and field.relational else None

    def has_method(self, model, name):
        return self._strict or callable(getattr(self._env.registry[model], name, None))

    def foreign(self, model, name):
        return name in self._foreign.get(model, ())


def _foreign_fields(env):
    """Fields that the database describes and this registry lacks; read once per registry."""
    registry = env.registry
    found = registry.__dict__.get("_waybill_foreign")
    if found is None:
        env.cr.execute("SELECT model, name FROM ir_model_fields")
        found = {}
        for model, name in env.cr.fetchall():
            if model in registry and name not in registry[model]._fields:
                found.setdefault(model, set()).add(name)
        if registry.ready:
            registry._waybill_foreign = found
    return found


def _prune(view, arch, model, strict=False):
    if arch is None or not model or not _prunes(view.env) or model not in view.env.registry:
        return
    dropped = prune.prune(arch, model, Models(view.env, strict))
    if dropped:
        _logger.debug("view of %s: dropped what this release does not know: %s", model, ", ".join(dropped))


def _patch_views():
    from odoo.addons.base.models import ir_ui_view

    view, base = ir_ui_view.IrUiView, ir_ui_view.Base
    stock_post, stock_validate = view.postprocess_and_fields, view._validate_view
    stock_missing, stock_key = view._get_x2many_missing_view_archs, base._get_view_cache_key

    def postprocess_and_fields(self, node, model=None, **options):
        _prune(self, node, model or self.model)
        return stock_post(self, node, model, **options)

    def _get_x2many_missing_view_archs(self, field, *args, **kwargs):
        found = stock_missing(self, field, *args, **kwargs)
        for arch, _view in found:
            _prune(self, arch, field.comodel_name)
        return found

    def _validate_view(self, node, model_name, *args, **kwargs):
        if not args and not kwargs.get("node_info"):  # the outermost call
            _prune(self, node, model_name, strict=True)
        return stock_validate(self, node, model_name, *args, **kwargs)

    def _get_view_cache_key(self, *args, **kwargs):
        return (*stock_key(self, *args, **kwargs), ("waybill", _prunes(self.env)))

    view.postprocess_and_fields = postprocess_and_fields
    view._get_x2many_missing_view_archs = _get_x2many_missing_view_archs
    view._validate_view = _validate_view
    base._get_view_cache_key = _get_view_cache_key


# -- assets: neither release deletes the other's bundles


def _keeps_assets():
    config = pool.current()
    return bool(config and config.keep_assets)


def _patch_assets():
    from odoo.addons.base.models.assetsbundle import AssetsBundle

    stock_clean, stock_unlink = AssetsBundle._clean_attachments, AssetsBundle._unlink_attachments

    def _clean_attachments(self, *args, **kwargs):
        return True if _keeps_assets() else stock_clean(self, *args, **kwargs)

    def _unlink_attachments(self, attachments):
        return None if _keeps_assets() else stock_unlink(self, attachments)

    AssetsBundle._clean_attachments = _clean_attachments
    AssetsBundle._unlink_attachments = _unlink_attachments


# -- files: while a checkpoint copies the filestore nothing is collected


def held(database):
    """Whether a checkpoint copies the files of a database."""
    tenant = pool.tenant(database)
    return bool(tenant and tenant.gc_hold)


def _patch_files():
    from odoo.addons.base.models.ir_attachment import IrAttachment

    stock = IrAttachment._gc_file_store_unsafe

    def _gc_file_store_unsafe(self):
        if held(self.env.cr.dbname):
            _logger.info("files of %s are not collected: a checkpoint holds them", self.env.cr.dbname)
            return None
        return stock(self)

    IrAttachment._gc_file_store_unsafe = _gc_file_store_unsafe
