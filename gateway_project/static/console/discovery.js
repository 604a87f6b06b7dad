// The list of what a provider offers: finding in it, and counting what is ticked. Everything works without this, but longer.
"use strict";

const form = document.getElementById("discovery");
if (form) {
    const rows = [...form.querySelectorAll("tbody tr")];
    const find = document.getElementById("find");

    function follow(row) {
        const tick = row.querySelector("input[type=checkbox]");
        const name = row.querySelector("input.name");
        // What is not ticked is not sent: a list of a thousand would be more fields than Django takes.
        if (tick && name) name.disabled = !tick.checked;
    }

    function count() {
        const chosen = form.querySelectorAll("tbody input[type=checkbox]:checked").length;
        const told = document.getElementById("chosen");
        if (told) told.textContent = chosen ? `${chosen} ticked` : "";
    }

    function narrow() {
        const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        for (const row of rows) {
            row.hidden = !words.every((word) => row.dataset.text.includes(word));
            if (!row.hidden) shown += 1;
        }
        document.getElementById("found").textContent = words.length ? `${shown} of ${rows.length}` : "";
    }

    form.addEventListener("change", (event) => {
        const row = event.target.closest("tbody tr");
        if (row) follow(row);
        count();
    });
    find.addEventListener("input", narrow);
    find.addEventListener("keydown", (event) => {
        if (event.key === "Enter") event.preventDefault();
    });
    form.querySelector(".finding").hidden = false;
    rows.forEach(follow);
    count();
}
