/* Buttons that copy a field. Only pages over HTTPS (and localhost) may write to the clipboard; elsewhere the text is selected. */
"use strict";
for (const button of document.querySelectorAll("[data-copy-from]")) {
    const source = document.getElementById(button.dataset.copyFrom), status = document.getElementById("copied");
    button.addEventListener("click", async () => {
        source.select();
        try {
            await navigator.clipboard.writeText(source.value);
            status.textContent = "Copied.";
        } catch { status.textContent = "It is selected; press Ctrl+C to copy it."; }
    });
}
