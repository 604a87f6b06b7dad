"""Loading models.yaml and routing.yaml from the console: first what would change, then, if it is still the same, the change.

The files are the server's own, or somebody's upload. An upload is kept nowhere: the page that shows what it would change holds it
until it is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from catalog.models import Adapter, AdapterPrice, LanguageModel, Provider, SeededRow
from catalog.seed.document import Document
from catalog.seed.problems import Problem, SeedRefused
from catalog.seed.report import Action, Change, Report
from routingapp import seed
from routingapp.models import RoutingPolicy, RoutingWeight

RIGHTS = (
    "catalog.add_languagemodel", "catalog.change_languagemodel", "catalog.add_provider", "catalog.change_provider",
    "catalog.add_adapter", "catalog.change_adapter", "routingapp.change_routingweight", "routingapp.change_routingpolicy",
)  # fmt: skip
PRICING_RIGHT = "catalog.add_adapterprice"
OPTIONS = {
    "prune": "Disable what an earlier load wrote and the files no longer have",
    "force": "Overwrite what was edited in admin",
}
FIELDS = ("models", "routing")
"""What an upload may consist of. Without `routing`, weights and policies are what models.yaml says."""
MAX_UPLOAD_BYTES = 1024 * 1024
SHOWN_CHANGES = 200
"""So many rows of a difference are shown; all of them are loaded."""
_ROWS: dict[str, type[models.Model]] = {
    "provider": Provider, "model": LanguageModel, "adapter": Adapter, "price": AdapterPrice, "weight": RoutingWeight,
    "policy": RoutingPolicy,
}  # fmt: skip


Options = dict[str, bool]
"""Which of `OPTIONS` are chosen."""


@dataclass(frozen=True, slots=True)
class Files:
    """What is to be loaded. Without `models`: the server's own files."""

    models: Document | None = None
    routing: Document | None = None

    def load(self, options: Options, *, dry_run: bool = False) -> Report:
        """Raises `SeedRefused`."""
        prune, force = options["prune"], options["force"]
        if self.models is None:
            return seed.load(dry_run=dry_run, prune=prune, force=force)
        return seed.load_documents(self.models, self.routing, dry_run=dry_run, prune=prune, force=force)

    def kept(self) -> list[tuple[str, str]]:
        """The upload as fields of a form."""
        pairs = ((self.models, "models"), (self.routing, "routing"))
        return [
            pair
            for document, field in pairs
            if document
            for pair in ((f"{field}_name", document.name), (field, document.text))
        ]


def show(request: HttpRequest) -> HttpResponse:
    """What loading the server's files now would change. Changes nothing."""
    _check(request)
    return _shown(request, Files(), _options(request))


@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """What loading uploaded files would change. Changes nothing."""
    _check(request)
    options = _options(request)
    try:
        files = _uploaded(request)
    except SeedRefused as refusal:
        return _page(request, options, problems=refusal.problems)
    return _shown(request, files, options)


@require_POST
def apply(request: HttpRequest) -> HttpResponse:
    """Loads the files, if that changes just what was shown."""
    _check(request)
    options, files = _options(request), _kept(request)
    try:
        with transaction.atomic():
            report = files.load(options)
            if _lacks_pricing(request, files, report):
                raise PermissionDenied
            is_as_shown = version_of(report) == request.POST.get("version")
            if is_as_shown:
                _record(request, report)
            else:
                transaction.set_rollback(True)
    except SeedRefused as refusal:
        messages.error(request, "Nothing was loaded.")
        return _page(request, options, problems=refusal.problems)
    if not is_as_shown:
        messages.error(request, "The files or the rows have changed meanwhile. This is what would change now.")
        return _shown(request, files, options)
    messages.success(request, f"{report.summary()} The gateway follows within a second.")
    return redirect("admin:catalog_languagemodel_changelist" if files.models else "admin:console_seeding")


def version_of(report: Report) -> str:
    """A name for just these changes."""
    return hashlib.sha256("\n".join(report.lines()).encode()).hexdigest()[:16]


def _shown(request: HttpRequest, files: Files, options: Options) -> HttpResponse:
    try:
        report = files.load(options, dry_run=True)
    except SeedRefused as refusal:
        return _page(request, options, problems=refusal.problems)
    return _page(
        request,
        options,
        report=report,
        # What would change comes first: the list may end before what is left alone.
        changes=[(change, change.lines()) for change in sorted(report.changes, key=_is_left_alone)[:SHOWN_CHANGES]],
        not_shown=max(0, len(report.changes) - SHOWN_CHANGES),
        version=version_of(report),
        kept=files.kept(),
        names=[document.name for document in (files.models, files.routing) if document],
        unpriceable=report.repriced if _lacks_pricing(request, files, report) else [],
    )


def _is_left_alone(change: Change) -> bool:
    return change.action in (Action.KEPT, Action.GONE)


def _page(request: HttpRequest, options: Options, *, problems: tuple[Problem, ...] = (), **context: Any) -> HttpResponse:
    return TemplateResponse(
        request,
        "admin/console/seeding.html",
        {
            **admin.site.each_context(request),
            "title": "Load models.yaml",
            "options": [(name, words, options[name]) for name, words in OPTIONS.items()],
            "problems": sorted(problems, key=lambda problem: (problem.file, problem.line)),
            **context,
        },
    )


def _lacks_pricing(request: HttpRequest, files: Files, report: Report) -> bool:
    """Whether somebody sets prices who may not. The server's own files were written by those who may do everything."""
    return files.models is not None and bool(report.repriced) and not request.user.has_perm(PRICING_RIGHT)


def _options(request: HttpRequest) -> Options:
    given = request.POST if request.method == "POST" else request.GET
    return {name: name in given for name in OPTIONS}


def _uploaded(request: HttpRequest) -> Files:
    """The files, or what the page held of them. Raises `SeedRefused` where there is none, or where it is too large or no text."""
    if "models" in request.POST:
        return _kept(request)
    documents: dict[str, Document] = {}
    for field in FIELDS:
        file = request.FILES.get(field)
        if isinstance(file, UploadedFile):
            name = file.name or f"{field}.yaml"
            if (file.size or 0) > MAX_UPLOAD_BYTES:
                raise SeedRefused(
                    [Problem(name, 0, "", f"has more than {MAX_UPLOAD_BYTES // 1024} KB; load it in a shell")]
                )
            documents[field] = Document.of(name, file.read())
    if "models" not in documents:
        raise SeedRefused([Problem("models.yaml", 0, "", "is missing: choose a file")])
    return Files(documents["models"], documents.get("routing"))


def _kept(request: HttpRequest) -> Files:
    """What the page held."""
    found = {
        field: Document(request.POST.get(f"{field}_name", f"{field}.yaml"), request.POST[field])
        for field in FIELDS
        if field in request.POST
    }
    return Files(found.get("models"), found.get("routing"))


def _record(request: HttpRequest, report: Report) -> None:
    """Write into the history of every row what the load did to it."""
    written = [change for change in report.changes if change.action in (Action.ADDED, Action.CHANGED, Action.DISABLED)]
    numbers = {(entry.kind, entry.key): entry.row_id for entry in SeededRow.objects.all()}
    for kind, row in _ROWS.items():
        changes = [change for change in written if change.kind == kind]
        rows = row._default_manager.in_bulk([numbers[kind, change.key] for change in changes])
        for change in changes:
            LogEntry.objects.log_actions(
                request.user.pk or 0,
                [rows[numbers[kind, change.key]]],
                ADDITION if change.action is Action.ADDED else CHANGE,
                change_message=" ".join(_words(change, report.file)),
                single_object=True,
            )


def _words(change: Change, file: str) -> Iterator[str]:
    yield f"Loaded from {file}."
    yield from (line.strip() for line in change.lines()[1:])


def _check(request: HttpRequest) -> None:
    if not request.user.has_perms(RIGHTS):
        raise PermissionDenied
