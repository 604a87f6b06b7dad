/* Names for controls of Django admin that have none of their own, for those who hear pages instead of seeing them: fields in tables
   take their column's heading, the two halves of a date their field's label, searchable boxes the label of the field they stand for. */
"use strict";
(() => {
    const text = node => node ? node.textContent.replace(/\s+/g, " ").replace(/:\s*$/, "").trim() : "";
    const isNamed = control => control.hasAttribute("aria-label") || control.hasAttribute("aria-labelledby")
        || [...(control.labels || [])].some(label => text(label));
    const name = (control, words) => { if (words && !isNamed(control)) control.setAttribute("aria-label", words); };

    const labelOf = control => text(control.closest(".form-row, .flex-container, fieldset")?.querySelector("label, legend"));
    const headingOf = control => {
        const cell = control.closest("td"), heads = cell?.closest("table")?.tHead?.rows[0]?.cells;
        return heads ? text(heads[cell.cellIndex]) : "";
    };
    const rowOf = control => text(control.closest("tr")?.querySelector("th, .original p, .field-upstream_model .readonly"));

    const nameAll = root => {
        for (const control of root.querySelectorAll("#changelist-search #searchbar")) name(control, "Search");
        for (const control of root.querySelectorAll("td :is(input:not([type=hidden]), select, textarea)")) {
            const heading = headingOf(control), half = control.matches(".vDateField") ? " (date)" : control.matches(".vTimeField") ? " (time)" : "";
            name(control, [heading && heading + half, rowOf(control)].filter(Boolean).join(", ") || control.name);
        }
        for (const control of root.querySelectorAll(".datetime :is(.vDateField, .vTimeField)")) {
            name(control, `${labelOf(control)} (${control.matches(".vDateField") ? "date" : "time"})`);
        }
        for (const box of root.querySelectorAll(".select2-container")) {
            const words = labelOf(box) || headingOf(box);
            for (const part of box.querySelectorAll("[role=combobox], [role=textbox], [role=listbox]")) name(part, words);
        }
        for (const icon of root.querySelectorAll(".help-tooltip[aria-label]:not([role])")) icon.setAttribute("role", "img");
    };

    nameAll(document);
    // Admin's own scripts make boxes and rows later.
    new MutationObserver(records => {
        for (const target of new Set(records.filter(record => record.addedNodes.length).map(record => record.target))) nameAll(target);
    }).observe(document.body, { childList: true, subtree: true });
})();
