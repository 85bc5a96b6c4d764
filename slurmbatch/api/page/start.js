// Nothing of it comes from elsewhere, and nothing goes there: not even to check the document.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
