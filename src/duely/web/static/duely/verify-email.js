// The token stands behind the # of the address, which browsers do not send: no log has it. Nothing happens before a
// button is pressed, since programs that check mails open links too.
const views = [...document.querySelectorAll("[data-view]")];
const withPassword = document.getElementById("with-password");
const withoutPassword = document.getElementById("without-password");
const password = document.getElementById("password");
const passwordError = document.getElementById("password-error");
const progress = document.getElementById("progress");
const faults = document.getElementById("faults").dataset;
const title = document.title.split(" · ").pop();
const DEADLINE_MS = 30_000;

let token = "";
let isBusy = false;

function show(name) {
  for (const view of views) view.hidden = view.dataset.view !== name;
  const heading = document.querySelector(`[data-view="${name}"] h1`);
  document.title = `${heading.textContent} · ${title}`;
  return heading;
}

function start() {
  token = location.hash.slice(1);
  const isWhole = new RegExp(`^${withPassword.dataset.token}$`).test(token);
  password.value = "";
  clearFaults();
  if (isWhole) show("ask");
  // After success the address has no token: the page was loaded again, or opened with the button "Back".
  else show(token ? "incomplete" : "nothing");
}

function clearFaults() {
  for (const fault of document.querySelectorAll("[data-fault]")) fault.textContent = "";
  password.removeAttribute("aria-invalid");
  passwordError.hidden = true;
}

function showPasswordError(message) {
  passwordError.textContent = message;
  passwordError.hidden = false;
  password.setAttribute("aria-invalid", "true");
  password.focus();
  password.select();
}

function waitMessage(retryAfter) {
  const seconds = Math.max(Number(retryAfter) || 60, 1);
  if (seconds === 1) return faults.second;
  return seconds < 120
    ? faults.seconds.replace("{}", seconds)
    : faults.minutes.replace("{}", Math.ceil(seconds / 60));
}

async function confirm(form, body) {
  if (isBusy) return;
  isBusy = true;
  clearFaults();
  const button = form.querySelector("[type=submit]");
  // Not `disabled`: a disabled button loses the focus.
  button.setAttribute("aria-disabled", "true");
  progress.textContent = progress.dataset.busy;
  const fault = form.querySelector("[data-fault]");
  try {
    const answer = await fetch(withPassword.getAttribute("action"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (answer.ok) {
      // Reloading must not ask again.
      history.replaceState(null, "", location.pathname);
      show("password" in body ? "done" : "done-without").focus();
      return;
    }
    const problem = await answer.json().catch(() => ({}));
    const wrongPassword = problem.errors?.find((error) => error.field === "password");
    if (wrongPassword) showPasswordError(wrongPassword.message);
    else if (views.some((view) => view.dataset.view === problem.code)) show(problem.code).focus();
    else if (answer.status === 429) fault.textContent = waitMessage(answer.headers.get("Retry-After"));
    else if (answer.status < 500 && problem.title) fault.textContent = `${problem.title} ${problem.detail ?? ""}`;
    else fault.textContent = faults.failed;
  } catch {
    fault.textContent = faults.unreachable;
  } finally {
    isBusy = false;
    button.removeAttribute("aria-disabled");
    progress.textContent = "";
  }
}

withPassword.addEventListener("submit", (event) => {
  event.preventDefault();
  // Without `password` the API ends the account's password: only the other form may ask for that.
  if (password.value) confirm(withPassword, { token, password: password.value });
  else showPasswordError(passwordError.dataset.empty);
});

withoutPassword.addEventListener("submit", (event) => {
  event.preventDefault();
  confirm(withoutPassword, { token });
});

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    if (isBusy) return;
    clearFaults();
    show(button.dataset.show).focus();
  });
}

// Another link that is opened in the same tab changes the part behind the # alone, without loading the page.
addEventListener("hashchange", start);
start();
