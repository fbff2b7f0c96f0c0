// Swagger UI in the colours of the system, with a curl command for a terminal and names for screen readers.

const node = document.getElementById("swagger-ui");
const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", setTheme);
setTheme();

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Return a request as a command for a shell with API_KEY, which asks the API and not this page. */
function command({ url, method, headers = {}, body }) {
  const sent = Object.entries(headers).filter(([name]) => !["accept", "authorization"].includes(name.toLowerCase()));
  return [
    `curl -i -X ${method} ${quoted(url.replace(new URL("v1", document.baseURI).href, node.dataset.apiUrl))}`,
    '-H "Authorization: $API_KEY"',
    ...sent.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(body ? [`-d ${quoted(typeof body === "string" ? body : JSON.stringify(body))}`] : []),
  ].join(" \\\n  ");
}

/** Return the user whom a request is about: of its path, or of its body. */
function userOf({ url, body }) {
  const inPath = /\/v1\/user\/([^/?]+)/.exec(url)?.[1];
  if (inPath) return decodeURIComponent(inPath);
  try {
    const sent = JSON.parse(body);
    const { email, _id } = sent.user ?? sent.events?.[0]?.user ?? sent;
    return email ?? _id;
  } catch {
    return undefined;
  }
}

/** Components of Swagger UI that are replaced, or get something beside them. */
const ours = ({ React: { createElement } }) => ({
  wrapComponents: {
    curl: () => ({ request }) => {
      const text = command(request.toJS());
      const copy = () => navigator.clipboard.writeText(text);
      return createElement(
        "div",
        { className: "curl-command" },
        createElement("h4", {}, "In a terminal ", createElement("button", { className: "small", type: "button", onClick: copy }, "Copy")),
        createElement("pre", { className: "curl", tabIndex: 0, role: "group", "aria-label": "curl command" }, text),
      );
    },
    liveResponse: (Original) => (properties) => {
      const { path, method, specSelectors } = properties;
      const who = userOf(specSelectors.requestFor(path, method)?.toJS() ?? {});
      const link = who && createElement("p", {}, createElement("a", { className: "show-user", href: `users#${encodeURIComponent(who)}` }, "Show this user"));
      return createElement("div", {}, link, createElement(Original, properties));
    },
    // A link inside a button cannot be used by keyboard.
    DeepLink: () => ({ text }) => createElement("span", { className: "nostyle" }, text),
  },
});

const NAMES = {
  ".examples-select-element": "Example",
  "select.content-type": "Media type",
  "textarea": "Request body",
  ".parameters input": "Value",
  ".close-modal": "Close",
};

const REGIONS = { ".information-container": "About this API", ".scheme-container": "Authorization", ".models": "Schemas" };

/** Complete what Swagger UI leaves out for screen readers and the keyboard. */
function complete() {
  for (const [selector, name] of Object.entries(NAMES))
    for (const element of node.querySelectorAll(`${selector}:not([aria-label])`)) element.setAttribute("aria-label", name);
  for (const element of node.querySelectorAll("pre:not([tabindex])")) element.tabIndex = 0;
  for (const element of node.querySelectorAll(".modal-btn[aria-label]")) element.removeAttribute("aria-label"); // it says less
  for (const [selector, name] of Object.entries(REGIONS)) {
    const element = node.querySelector(`${selector}:not([role])`);
    for (const [attribute, value] of Object.entries({ role: "region", "aria-label": name })) element?.setAttribute(attribute, value);
  }
  for (const level of [3, 4, 5]) for (const heading of node.querySelectorAll(`h${level}`)) heading.ariaLevel = level - 1; // below our h1
}
new MutationObserver(complete).observe(node, { childList: true, subtree: true });

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0, // the list of schemas is folded
  validatorUrl: null,
  plugins: [ours],
});

// Swagger UI looks at the address once, when it starts. Our links into it come later.
window.addEventListener("hashchange", () => {
  const operation = document.getElementById(`operations-${location.hash.slice(2).replaceAll("/", "-")}`);
  if (!operation) return;
  if (!operation.classList.contains("is-open")) operation.querySelector(".opblock-summary-control").click();
  operation.scrollIntoView();
});
