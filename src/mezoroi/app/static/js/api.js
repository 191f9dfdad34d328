// The API's description, drawn by Swagger UI from our own server.
window.SwaggerUIBundle({ url: "/api/v1/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
