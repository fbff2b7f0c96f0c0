"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: 0, // the list of schemas is folded
  validatorUrl: null,
});

// Swagger UI looks at the address once, when it starts. Our links into it come later.
window.addEventListener("hashchange", () => {
  const operation = document.getElementById(`operations-${location.hash.slice(2).replaceAll("/", "-")}`);
  if (!operation) return;
  if (!operation.classList.contains("is-open")) operation.querySelector(".opblock-summary-control").click();
  operation.scrollIntoView();
});
