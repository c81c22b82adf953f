"""Everything of mine as a file, and files brought in."""

from typing import Annotated

from django.http import FileResponse, HttpResponse, HttpResponseBase

from duely.api.answers import JSON
from duely.api.components import Options, Upload
from duely.api.operations import operation
from duely.api.resource import Resource
from duely.core.clock import now
from duely.core.errors import QuotaExceeded
from duely.core.permissions import Permission, require
from duely.database.slots import ConcurrencyLimit, return_connection, without_slot
from duely.transfer import exports, schemas
from duely.transfer.budget import ImportTooCostly
from duely.transfer.files import CHUNK, UnknownFormat
from duely.transfer.imports import bring_in
from duely.transfer.uploads import MEDIA, received

CSV = "text/csv; charset=utf-8"
_files = ConcurrencyLimit(4, wait=0)
_work = ConcurrencyLimit(1, wait=30)


class Exports(Resource):
    """The export of all your data."""

    tags = ("export and import",)

    @operation(
        schemas.Export, name="exportAll", headers={"Content-Disposition": "The suggested file name."}, also_media=(CSV,)
    )
    def get(self, parsed_options: Options[schemas.ExportOptions]) -> HttpResponseBase:
        """Export all your data.

        JSON contains the profile, categories, tasks and the log. `import/` restores categories and tasks from it
        without loss. CSV contains the tasks, for spreadsheets.
        """
        require(self.actor, Permission.TASK_VIEW)
        at = now()
        with _files.slot(), _work.slot():
            file = exports.written(self.actor, parsed_options.format, at)
        # Whoever reads slowly keeps nobody from the database.
        return_connection()
        name = f"duely-{at:%Y-%m-%d}.{parsed_options.format}"
        media = JSON if parsed_options.format == "json" else CSV
        response = FileResponse(file, as_attachment=True, filename=name, content_type=media)
        response.block_size = CHUNK
        return response


class Imports(Resource):
    """The import of files."""

    tags = ("export and import",)

    @operation(
        schemas.ImportResult, name="importFile", keyed=False, refuses=(UnknownFormat, ImportTooCostly, QuotaExceeded)
    )
    def post(
        self,
        parsed_options: Options[schemas.ImportOptions],
        parsed_upload: Annotated[None, Upload(MEDIA, schemas.FILES)],
    ) -> HttpResponse:
        """Import a file.

        The body is the file itself, or a form with the file as its only part. The kind of file is detected from its
        content, not from its media type: an export of Duely (JSON or CSV), a table of any program (CSV), or an export
        of a program that the guide lists. The file is checked completely before anything is written. Importing the
        same file again changes nothing, and tasks that were changed in Duely since then are kept. `notes` lists the
        values that could not be imported unchanged. With `preview` nothing is written.
        """
        require(self.actor, Permission.TASK_EDIT)
        require(self.actor, Permission.CATEGORY_EDIT)
        with _files.slot():
            with without_slot():
                file = received(self.request)
            with file, _work.slot():
                result = bring_in(actor=self.actor, file=file, preview=parsed_options.preview, now=now())
        return self.show(schemas.show_result(result, preview=parsed_options.preview))


ROUTES: list[tuple[str, type[Resource]]] = [("export/", Exports), ("import/", Imports)]
