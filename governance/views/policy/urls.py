"""Where the policy's pages are."""

from __future__ import annotations

from django.urls import path

from governance.views.policy import activation, matrix, parts, simulate, versions, who

urlpatterns = [
    path("", versions.versions, name="policy"),
    path("who/", who.who_page, name="policy-who"),
    path("draft/", versions.draft_begin, name="policy-draft"),
    path("<int:number>/", versions.version_page, name="policy-version"),
    path("<int:number>/changes/", versions.version_changes, name="policy-changes"),
    path("<int:number>/check/", activation.version_check, name="policy-check"),
    path("<int:number>/simulate/", simulate.version_simulate, name="policy-simulate"),
    path("<int:number>/discard/", versions.draft_discard, name="policy-discard"),
    path("<int:number>/sign/", activation.draft_sign, name="policy-sign"),
    path("<int:number>/activate/", activation.draft_activate, name="policy-activate"),
    path("<int:number>/matrix.csv", versions.version_matrix, name="policy-matrix"),
    path("<int:number>/matrix/", matrix.matrix_take, name="policy-take"),
    path("<int:number>/rows/", matrix.row_add, name="policy-row-add"),
    path("<int:number>/rows/pasted/", matrix.rows_pasted, name="policy-pasted"),
    path("<int:number>/rows/<int:row>/", matrix.row_save, name="policy-row"),
    path("<int:number>/windows/", parts.windows_edit, name="policy-windows"),
    path("<int:number>/tree/", parts.tree_edit, name="policy-tree"),
    path("<int:number>/offices/", parts.offices_edit, name="policy-offices"),
    path("<int:number>/rules/", parts.rule_add, name="policy-rule-add"),
    path("<int:number>/rules/<slug:key>/", parts.rule_edit, name="policy-rule"),
]
